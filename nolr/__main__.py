"""python -m nolr"""

from nolr.cli import main

if __name__ == "__main__":
    main()
