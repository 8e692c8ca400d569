"""Episodes as MCAP files, one each, for Foxglove and whatever else reads MCAP.

Log and publish time of a message are when the episode was recorded plus its time within it. Films
go in as they are: their H.264 packets, one a message, with nothing encoded again. They satisfy what
Foxglove asks of ``foxglove.CompressedVideo``: Annex B, one frame a message, no frame that needs a
later one, and the parameter sets in front of every keyframe.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from loopwright.store.exchange import Exported
from loopwright.store.exchange.file_each import export_file_each
from loopwright.store.exchange.mcap_file import load_writer, write_story
from loopwright.store.workspace import Workspace


def export_mcap(
    workspace: Workspace,
    episodes: Sequence[str],
    folder: Path,
    *,
    progress: Callable[[Sequence[str]], Iterable[str]] = iter,
) -> Exported:
    """Write every episode as ``<id>.mcap``.

    Args:
        workspace: Where they are.
        episodes: Their ids; of any interface and any kind.
        folder: Where to; absent or empty. It appears under this name when it is whole.
        progress: Wraps the ids, to show how far it is.

    Returns:
        What was written; the notes say what a viewer may stumble over.

    Raises:
        MissingExtra: The package ``mcap`` is not installed.
        InvalidConfig: There is no episode, or one twice, or the folder is taken.
        DamagedEpisode: A file of an episode is missing or damaged.
        StorageError: The operating system refused.
    """
    load_writer()
    return export_file_each(
        workspace, episodes, folder, suffix=".mcap", write=write_story, progress=progress
    )
