"""A small Hub on this machine: what huggingface_hub asks, answered from memory.

Repositories, commits, pull requests and large files are real in the sense that matters: a commit
has a parent and a tree, a pull request is a branch, a large file must be there before a commit
names it.
"""

import base64
import hashlib
import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

TOKEN = "hf_" + "secretsecretsecret"
DAY = "2026-11-20T00:00:00.000Z"


@dataclass(frozen=True)
class Blob:
    data: bytes
    large: bool

    @property
    def oid(self) -> str:
        head = b"large" if self.large else f"blob {len(self.data)}\0".encode()
        return hashlib.sha1(head + self.data).hexdigest()  # noqa: S324 -- git's own

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()


@dataclass(frozen=True)
class Commit:
    oid: str
    parents: tuple[str, ...]
    title: str
    tree: dict[str, Blob]


@dataclass
class Repository:
    commits: dict[str, Commit] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    pulls: list[dict[str, Any]] = field(default_factory=list)

    def add(self, branch: str, title: str, tree: dict[str, Blob], *parents: str) -> str:
        text = "\0".join([title, *parents, *(f"{p} {b.oid}" for p, b in sorted(tree.items()))])
        oid = hashlib.sha1(f"{len(self.commits)} {text}".encode()).hexdigest()  # noqa: S324 -- git's
        self.commits[oid] = Commit(oid, parents, title, tree)
        self.branches[branch] = oid
        return oid

    def at(self, revision: str) -> Commit | None:
        return self.commits.get(self.branches.get(revision, revision))

    def history(self, oid: str) -> Iterator[Commit]:
        todo, seen = [oid], set()
        while todo:
            commit = self.commits[todo.pop(0)]
            if commit.oid not in seen:
                seen.add(commit.oid)
                yield commit
                todo += commit.parents


class HubServer(ThreadingHTTPServer):
    """The Hub. `break_off` makes requests fail; `log` holds what was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.repositories: dict[str, Repository] = {}
        self.objects: dict[str, bytes] = {}  # large files by SHA-256
        self.broken: list[list[Any]] = []
        self.log: list[str] = []
        self.page = 50  # rows of a listing

    def break_off(self, pattern: str, status: int, *, times: int = 1, after: int = 0) -> None:
        """Refuse requests like this one; a status of 0 closes the connection without an answer."""
        self.broken.append([pattern, times, status, after])

    def count(self, pattern: str) -> int:
        return sum(re.search(pattern, line) is not None for line in self.log)

    def make(self, repository: str, files: dict[str, bytes | None]) -> None:
        """Make a repository, as if it had been there before."""
        repo = self.repositories[repository] = Repository()
        start = {".gitattributes": Blob(b"*.parquet filter=lfs\n", large=False)}
        repo.add("main", "initial commit", start)
        self.push(repository, "main", files)

    def main(self, repository: str) -> dict[str, Blob]:
        found = self.repositories[repository].at("main")
        assert found is not None
        return found.tree

    def push(self, repository: str, branch: str, files: dict[str, bytes | None]) -> None:
        """Commit as somebody else would, with git; None removes a file."""
        repo = self.repositories[repository]
        before = repo.at(branch)
        assert before is not None
        tree = dict(before.tree)
        for path, data in files.items():
            tree.pop(path, None)
            if data is not None:
                tree[path] = Blob(data, path.endswith(".parquet"))
        repo.add(branch, "by git", tree, before.oid)

    def open_pull(self, repository: str, title: str, files: dict[str, bytes | None]) -> int:
        """Open a pull request with any content."""
        repo = self.repositories[repository]
        number = len(repo.pulls) + 1
        repo.branches[f"refs/pr/{number}"] = repo.branches["main"]
        repo.pulls.append({"title": title, "status": "open"})
        self.push(repository, f"refs/pr/{number}", files)
        return number


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: HubServer

    def log_message(self, *_: object) -> None:
        """Stay silent."""

    def do_GET(self) -> None:
        self._serve()

    do_HEAD = do_POST = do_PUT = do_GET  # noqa: N815 -- http.server's names

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        path, self.query = unquote(parts.path), parse_qs(parts.query)
        self.body = self._read()
        self.server.log.append(line := f"{self.command} {path}")
        if not self._fail(line):
            for pattern, answer in ROUTES.items():
                if found := re.fullmatch(pattern, line):
                    answer(self, *found.groups())
                    return
            self._error(404, "EntryNotFound")

    def _read(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _fail(self, line: str) -> bool:
        for fault in self.server.broken:
            pattern, times, status, after = fault
            if not re.search(pattern, line) or times == 0:
                continue
            fault[1 if after == 0 else 3] -= 1
            if after == 0 and status:
                self._error(status, "Broken")
                return True
            if after == 0:
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return True
        return False

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _json(self, value: object, headers: dict[str, str] | None = None) -> None:
        self._send(200, json.dumps(value).encode(), headers)

    def _error(self, status: int, code: str) -> None:
        # A careless server: it repeats the token, which must not come out anywhere.
        text = f"{code} for {self.headers.get('Authorization')}"
        self._send(status, json.dumps({"error": text}).encode(), {"X-Error-Code": code})

    def _known(self) -> bool:
        known = self.headers.get("Authorization") == f"Bearer {TOKEN}"
        if not known:
            self._error(401, "Unauthorized")
        return known

    def _repository(self, name: str) -> Repository | None:
        found = self.server.repositories.get(name)
        if found is None:
            self._error(404, "RepoNotFound")
        return found

    def _at(self, name: str, revision: str) -> tuple[Repository, Commit] | None:
        repo = self._repository(name)
        commit = None if repo is None else repo.at(revision)
        if repo is not None and commit is None:
            self._error(404, "RevisionNotFound")
        return None if repo is None or commit is None else (repo, commit)

    def _rows(self, rows: list[Any]) -> None:
        """Answer one page of a listing; the next one is behind a Link."""
        start, size = int(self.query.get("cursor", ["0"])[0]), self.server.page
        more = {}
        if start + size < len(rows):
            more["Link"] = (
                f'<{self.server.url}{urlsplit(self.path).path}?cursor={start + size}>; rel="next"'
            )
        self._json(rows[start : start + size], more)

    def whoami(self) -> None:
        if self._known():
            self._json({"type": "user", "name": "somebody", "orgs": []})

    def validate(self) -> None:
        self._json({"errors": [], "warnings": []})

    def create(self) -> None:
        asked = json.loads(self.body)
        name = f"{asked['organization']}/{asked['name']}"
        if not self._known():
            return
        reply = {"url": f"{self.server.url}/datasets/{name}", "name": name, "id": name}
        if name in self.server.repositories:
            self._send(409, json.dumps({"error": "exists", **reply}).encode())
            return
        self.server.make(name, {})
        self._json(reply)

    def revision(self, name: str, revision: str) -> None:
        if found := self._at(name, revision):
            self._json({"id": name, "sha": found[1].oid, "private": False, "tags": []})

    def tree(self, name: str, revision: str) -> None:
        if found := self._at(name, revision):
            rows = []
            for path, blob in sorted(found[1].tree.items()):
                row = {"type": "file", "oid": blob.oid, "size": len(blob.data), "path": path}
                large = {"oid": blob.sha256, "size": len(blob.data), "pointerSize": 130}
                rows.append(row | ({"lfs": large} if blob.large else {}))
            self._rows(rows)

    def commits(self, name: str, revision: str) -> None:
        if found := self._at(name, revision):
            repo, commit = found
            rows = [
                {"id": e.oid, "title": e.title, "message": "", "date": DAY, "authors": []}
                for e in repo.history(commit.oid)
            ]
            self._rows(rows)

    def resolve(self, name: str, rest: str) -> None:
        repo = self._repository(name)
        if repo is None:
            return
        known = sorted([*repo.branches, *repo.commits], key=len, reverse=True)
        revision = next((each for each in known if rest.startswith(f"{each}/")), "")
        found = self._at(name, revision)
        if found is None:
            return
        blob = found[1].tree.get(rest[len(revision) + 1 :])
        if blob is None:
            self._error(404, "EntryNotFound")
            return
        etag = blob.sha256 if blob.large else blob.oid
        self._send(200, blob.data, {"X-Repo-Commit": found[1].oid, "ETag": f'"{etag}"'})

    def preupload(self, name: str, revision: str) -> None:
        if self._known() and self._at(name, revision):
            files = [
                {
                    "path": each["path"],
                    "uploadMode": "lfs" if each["path"].endswith(".parquet") else "regular",
                    "shouldIgnore": False,
                }
                for each in json.loads(self.body)["files"]
            ]
            self._json({"files": files})

    def batch(self, _: str) -> None:
        objects = []
        for each in json.loads(self.body)["objects"]:
            upload = {"upload": {"href": f"{self.server.url}/upload/{each['oid']}", "header": {}}}
            there = each["oid"] in self.server.objects
            objects.append(each if there else {**each, "actions": upload})
        self._json({"transfer": "basic", "objects": objects})

    def upload(self, oid: str) -> None:
        if hashlib.sha256(self.body).hexdigest() != oid:
            self._error(400, "WrongHash")
            return
        self.server.objects[oid] = self.body
        self._send(200, b"")

    def commit(self, name: str, revision: str) -> None:
        found = self._at(name, revision) if self._known() else None
        if found is None:
            return
        repo, before = found
        lines = [json.loads(line) for line in self.body.splitlines()]
        header = lines[0]["value"]
        if header.get("parentCommit") not in (None, before.oid):
            self._error(412, "PreconditionFailed")
            return
        tree = dict(before.tree)
        for line in lines[1:]:
            value = line["value"]
            if line["key"] == "file":
                tree[value["path"]] = Blob(base64.b64decode(value["content"]), large=False)
            elif value["oid"] in self.server.objects:
                tree[value["path"]] = Blob(self.server.objects[value["oid"]], large=True)
            else:
                self._error(400, "LfsObjectMissing")
                return
        reply = {}
        if self.query.get("create_pr"):
            repo.pulls.append({"title": header["summary"], "status": "open"})
            revision = f"refs/pr/{len(repo.pulls)}"
            where = f"{self.server.url}/datasets/{name}/discussions/{len(repo.pulls)}"
            reply["pullRequestUrl"] = where
        oid = repo.add(revision, header["summary"], tree, before.oid)
        self._json(
            {"commitUrl": f"{self.server.url}/datasets/{name}/commit/{oid}", "commitOid": oid}
            | reply
        )

    def _discussion(self, name: str, number: int) -> dict[str, Any]:
        told = {"num": number, "isPullRequest": True, "createdAt": DAY, "author": {"name": "a"}}
        told["repo"] = {"name": name, "type": "dataset"}
        return told | self.server.repositories[name].pulls[number - 1]

    def discussions(self, name: str) -> None:
        if repo := self._repository(name):
            found = [self._discussion(name, number + 1) for number in range(len(repo.pulls))]
            status = self.query.get("status", [""])[0]
            found = [each for each in found if status in ("", each["status"])]
            start = 2 * int(self.query.get("p", ["0"])[0])
            page = {"discussions": found[start : start + 2], "count": len(found), "start": start}
            self._json(page)

    def discussion(self, name: str, number: str) -> None:
        repo = self._repository(name)
        if repo is not None and 0 < int(number) <= len(repo.pulls):
            more = {"changes": {"base": "refs/heads/main"}, "filesWithConflicts": [], "events": []}
            self._json(self._discussion(name, int(number)) | more)
        elif repo is not None:
            self._error(404, "EntryNotFound")

    def merge(self, name: str, number: str) -> None:
        if not self._known():
            return
        repo = self.server.repositories[name]
        ours, theirs = repo.at("main"), repo.at(f"refs/pr/{number}")
        assert ours is not None
        assert theirs is not None
        mine = {each.oid for each in repo.history(ours.oid)}
        base = next(each for each in repo.history(theirs.oid) if each.oid in mine)
        new = {path: blob for path, blob in theirs.tree.items() if base.tree.get(path) != blob}
        tree = {**ours.tree, **new}
        repo.add("main", f"Merge {number}", tree, ours.oid, theirs.oid)
        repo.pulls[int(number) - 1]["status"] = "merged"
        event = {"id": "1", "type": "status-change", "createdAt": DAY, "author": {"name": "a"}}
        self._json({"newStatus": event | {"data": {"status": "merged"}}})


_REPO = r"([^/]+/[^/]+)"
ROUTES: dict[str, Callable[..., None]] = {
    r"GET /api/whoami-v2": Handler.whoami,
    r"POST /api/validate-yaml": Handler.validate,
    r"POST /api/repos/create": Handler.create,
    rf"GET /api/datasets/{_REPO}/revision/(.+)": Handler.revision,
    rf"GET /api/datasets/{_REPO}/tree/(.+)": Handler.tree,
    rf"GET /api/datasets/{_REPO}/commits/(.+)": Handler.commits,
    rf"(?:GET|HEAD) /datasets/{_REPO}/resolve/(.+)": Handler.resolve,
    rf"POST /api/datasets/{_REPO}/preupload/(.+)": Handler.preupload,
    rf"POST /datasets/{_REPO}\.git/info/lfs/objects/batch": Handler.batch,
    r"PUT /upload/(\w+)": Handler.upload,
    rf"POST /api/datasets/{_REPO}/commit/(.+)": Handler.commit,
    rf"GET /api/datasets/{_REPO}/discussions": Handler.discussions,
    rf"GET /api/datasets/{_REPO}/discussions/(\d+)": Handler.discussion,
    rf"POST /api/datasets/{_REPO}/discussions/(\d+)/merge": Handler.merge,
}


@contextmanager
def running() -> Iterator[HubServer]:
    """Yield a Hub that is answering."""
    with HubServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
