"""What is asked of the Hugging Face Hub, and its refusals as one line each.

The token is the library's own (`hf auth login`, or HF_TOKEN). It is never read, kept or shown here,
and no text that the server answers is repeated.
"""

import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.errors import (  # type: ignore[attr-defined]  # HTTPError: of its HTTP library
    EntryNotFoundError,
    HfHubHTTPError,
    HFValidationError,
    HTTPError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import RepoFile

from spairc.files import cache_folder
from spairc.types import BadInput
from spairc_leaderboard.entry import Benchmark
from spairc_leaderboard.repository import Leaderboard, open_leaderboard

TABLES = ("README.md", "benchmarks/*.json", "entries/*/entry.json", "entries/*/status.json")
_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
_KIND = "dataset"
_AGAIN = "run the same command again; what has arrived is not sent again"
_LOGIN = "run hf auth login, or set HF_TOKEN, with a token that may write to it"
_BROKEN = 500  # and above: the server's own faults
_REFUSALS = {
    401: f"the Hub does not know this token; {_LOGIN}",
    403: f"this token may not do that to it; {_LOGIN}",
    409: "the Hub has something else under that name already; look at it, or choose another",
    412: "somebody else changed it meanwhile; run the same command again",
    413: "the Hub finds the upload too large; ask the repository's owner",
    429: "the Hub asks for fewer requests; wait some minutes, then run the same command again",
}


@dataclass(frozen=True)
class Hub:
    """A dataset repository on the Hub."""

    repository: str  # "organisation/name"
    api: HfApi

    @property
    def url(self) -> str:
        """Its address."""
        return f"{self.api.endpoint}/datasets/{self.repository}"


@dataclass(frozen=True)
class PullRequest:
    """A pull request's state when it was looked at."""

    number: int
    head: str  # the commit that was looked at
    status: str  # "open", "draft", "merged" or "closed"
    changed: Mapping[str, RepoFile]  # by path, every file that it brings or changes
    touched: tuple[str, ...]  # files that it changes or removes, which were there before

    @property
    def revision(self) -> str:
        """What git calls it."""
        return f"refs/pr/{self.number}"


def open_hub(repository: str) -> Hub:
    """Return the dataset repository of this name; nothing is asked of the network.

    Raises:
        BadInput: If the name is not of the form ORG/NAME.
    """
    if not _NAME.fullmatch(repository) or ".." in repository:
        raise BadInput(f"repository {repository!a}: write ORG/NAME, as the Hub shows it")
    # The library reads HF_ENDPOINT when it is imported; this reads it when it is needed.
    return Hub(repository, HfApi(endpoint=os.environ.get("HF_ENDPOINT") or None))


@contextmanager
def explained(hub: Hub) -> Iterator[None]:
    """Turn the Hub's and the network's refusals into one line each that says what to do."""
    try:
        yield
    except LocalTokenNotFoundError:
        raise BadInput(f"there is no token for {hub.repository}; {_LOGIN}") from None
    except OfflineModeIsEnabled:
        raise BadInput("HF_HUB_OFFLINE is set, so the Hub is not asked; unset it") from None
    except HFValidationError:
        raise BadInput(f"repository {hub.repository!a}: the Hub allows no such name") from None
    except (HTTPError, EntryNotFoundError) as error:
        raise BadInput(_refusal(hub, error)) from None
    except (ConnectionError, TimeoutError, RuntimeError) as error:
        # RuntimeError: what happens in an upload's threads, and in Xet's transfers.
        cause = error.__cause__ if isinstance(error.__cause__, HTTPError) else error
        raise BadInput(_refusal(hub, cause)) from None


def require_login(hub: Hub) -> None:
    """Check, before any work, that the Hub knows who is asking.

    Raises:
        BadInput: If there is no token, or the Hub does not know it.
    """
    with explained(hub):
        hub.api.whoami()


def head_of(hub: Hub) -> str:
    """Return the commit that the repository is at.

    Raises:
        BadInput: If there is no such repository or network.
    """
    with explained(hub):
        return str(hub.api.dataset_info(hub.repository, revision="main").sha)


def fetch_tables(hub: Hub, folder: Path) -> Leaderboard:
    """Return the leaderboard, fetched into an empty folder: all but pairs and predictions.

    Args:
        hub: The repository.
        folder: Filled with plain files; what was fetched before is not fetched again.

    Raises:
        BadInput: If there is no such repository or network, or a file cannot be read.
    """
    download_tables(hub, folder)
    return open_leaderboard(folder)


def download_tables(hub: Hub, folder: Path) -> None:
    """Fetch what `fetch_tables` opens; nothing is read, so no entry can be in the way.

    Args:
        hub: The repository.
        folder: Filled with plain files; what was fetched before is not fetched again.

    Raises:
        BadInput: If there is no such repository or network.
    """
    head = head_of(hub)
    with explained(hub):
        found = hub.api.snapshot_download(
            hub.repository,
            repo_type=_KIND,
            revision=head,
            allow_patterns=list(TABLES),
            cache_dir=cache_folder() / "hub",
        )
    shutil.copytree(found, folder, dirs_exist_ok=True)  # the cache holds links, a folder files


def fetch_truth(hub: Hub, board: Leaderboard, benchmark: Benchmark) -> None:
    """Fetch a benchmark's pairs into the leaderboard's folder.

    Raises:
        BadInput: If the repository lacks them, or there is no network.
    """
    fetch_files(hub, "main", [f"pairs/{benchmark.pair_list}.parquet"], board.folder)


def fetch_files(hub: Hub, revision: str, paths: Iterable[str], folder: Path) -> None:
    """Fetch files of one revision into a folder, under their own paths.

    Raises:
        BadInput: If one is not there, or there is no network.
    """
    for path in paths:
        with explained(hub):
            found = hub.api.hf_hub_download(
                hub.repository,
                path,
                repo_type=_KIND,
                revision=revision,
                cache_dir=cache_folder() / "hub",
            )
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(found, target)


def list_files(hub: Hub, revision: str) -> dict[str, RepoFile]:
    """Return every file of a revision.

    Raises:
        BadInput: If there is no such revision or network.
    """
    with explained(hub):
        rows = hub.api.list_repo_tree(
            hub.repository, recursive=True, revision=revision, repo_type=_KIND
        )
        return {row.path: row for row in rows if isinstance(row, RepoFile)}


def create_repository(hub: Hub) -> None:
    """Make the dataset repository; one that is there already is kept.

    Raises:
        BadInput: If the token may not, or there is no network.
    """
    with explained(hub):
        hub.api.create_repo(hub.repository, repo_type=_KIND, exist_ok=True)


def commit(
    hub: Hub,
    files: Mapping[str, Path],
    message: str,
    *,
    parent: str | None = None,
    description: str = "",
    pull_request: bool = False,
) -> str:
    """Add files in one commit; return its address, or the pull request's.

    Args:
        hub: The repository.
        files: Path in the repository -> file here.
        message: Its first line.
        parent: The commit that it must follow; another one there is refused.
        description: The rest of the message.
        pull_request: Whether to open one instead of writing to the main branch.

    Raises:
        BadInput: If the token may not, somebody else was faster, or the network broke off.
    """
    operations = [CommitOperationAdd(path, str(file)) for path, file in files.items()]
    with explained(hub):
        made = hub.api.create_commit(
            hub.repository,
            operations,
            commit_message=message,
            commit_description=description,
            repo_type=_KIND,
            create_pr=pull_request,
            parent_commit=parent,
        )
    return str(made.pr_url if pull_request else made.commit_url)


def open_pull_requests(hub: Hub, title_part: str) -> Iterator[int]:
    """Yield the numbers of open pull requests with these words in their title.

    Raises:
        BadInput: If there is no such repository or network.
    """
    with explained(hub):
        for each in hub.api.get_repo_discussions(
            hub.repository,
            discussion_type="pull_request",
            discussion_status="open",
            repo_type=_KIND,
        ):
            if each.status in ("open", "draft") and title_part in each.title:
                yield each.num


def look_at(hub: Hub, number: int) -> PullRequest:
    """Return what a pull request changes, against the commit that it began from.

    Raises:
        BadInput: If there is no such pull request or network.
    """
    with explained(hub):
        details = hub.api.get_discussion_details(hub.repository, number, repo_type=_KIND)
        if not details.is_pull_request:
            raise BadInput(f"{hub.repository}: number {number} is a discussion, no pull request")
        revision = f"refs/pr/{number}"
        theirs = hub.api.list_repo_commits(hub.repository, revision=revision, repo_type=_KIND)
        ours = hub.api.list_repo_commits(hub.repository, revision="main", repo_type=_KIND)
    known = {each.commit_id for each in ours}
    base = next((each.commit_id for each in theirs if each.commit_id in known), None)
    head = theirs[0].commit_id
    if base is None:
        raise BadInput(f"pull request {number} does not begin from this repository's main branch")
    before, after = list_files(hub, base), list_files(hub, head)
    changed = {
        path: row
        for path, row in after.items()
        if path not in before or before[path].blob_id != row.blob_id
    }
    touched = [path for path in before if path in changed or path not in after]
    return PullRequest(number, head, str(details.status), changed, tuple(touched))


def merge(hub: Hub, seen: PullRequest) -> None:
    """Merge a pull request, if it still is what was looked at.

    Raises:
        BadInput: If it was changed since, even in the moment of merging, or the token may not.
    """
    with explained(hub):
        info = hub.api.dataset_info(hub.repository, revision=seen.revision)
        if info.sha != seen.head:
            raise BadInput(f"pull request {seen.number} was changed meanwhile; check it again")
        hub.api.merge_pull_request(hub.repository, seen.number, repo_type=_KIND)
    now = list_files(hub, "main")
    for path, row in seen.changed.items():
        if path not in now or now[path].blob_id != row.blob_id:
            raise BadInput(
                f"{path} was changed while it was merged; look at {hub.url}/commits/main"
            )


def _refusal(hub: Hub, error: Exception) -> str:
    """Return what the Hub refused, and what to do."""
    if isinstance(error, RepositoryNotFoundError):
        return (
            f"there is no dataset {hub.repository}, or this token may not see it; check the name, "
            f"log in with hf auth login, or make it with spairc push --create"
        )
    if isinstance(error, RevisionNotFoundError):
        return f"{hub.repository} has no such pull request or revision; look at {hub.url}"
    if not isinstance(error, HfHubHTTPError):
        return _broken_off(hub, error)
    status = error.response.status_code
    if isinstance(error, EntryNotFoundError):
        return f"{hub.repository} lacks a file or a pull request that is needed; look at {hub.url}"
    if status >= _BROKEN:
        return f"{hub.repository}: the Hub has a fault of its own (HTTP {status}); {_AGAIN}"
    advice = _REFUSALS.get(status, f"the Hub refused it; look at {hub.url}")
    return f"{hub.repository}: {advice} (HTTP {status})"


def _broken_off(hub: Hub, error: Exception) -> str:
    """Return what to do when there is no answer."""
    server = f"{hub.api.endpoint} ({type(error).__name__})"
    return f"{hub.repository}: no answer from {server}; see to the network, then {_AGAIN}"
