"""`stockkit report`: the pages of a run anew, or its publication."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stockkit.cli.shared import EXIT_FAILED, fail, shown_path
from stockkit.errors import LakeError


def report(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="A folder of reports/, or its name.")],
    publish: Annotated[
        str | None, typer.Option(metavar="S3://…", help="Leave the pages as they are, and publish the run there.")
    ] = None,
) -> None:
    """Make the pages of a run anew from its notebooks and manifest, or publish it on S3."""
    from stockkit.lake.tables import workbook_root
    from stockkit.workbook.chain import conclusion

    folder = run_folder if run_folder.is_dir() else workbook_root() / "reports" / run_folder.name
    if publish:
        _publish(folder.absolute(), publish)
        return
    conclusion.render_again(folder)
    print(shown_path((folder / "index.html").resolve()))


def _publish(folder: Path, where: str) -> None:
    from stockkit.workbook.chain import publication

    place = publication.open_reports(where, folder.parent)
    try:
        print(place.publish(folder))
    except LakeError as error:
        fail(str(error))
        raise typer.Exit(EXIT_FAILED) from error
