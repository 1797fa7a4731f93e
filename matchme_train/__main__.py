"""`python -m matchme_train RECIPE ...` is `spairc train RECIPE ...`, for `accelerate launch`."""

from spairc.lookup import import_object

if __name__ == "__main__":
    # The command line stands above the trainer, which therefore does not import it.
    command = import_object("spairc.cli.train:train", "command")
    command()  # type: ignore[operator]  # which object it is only its name tells
