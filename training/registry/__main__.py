"""The registered styles from the command line: `python -m training.registry VERB`.

The verbs are restore, list, file, promote, export, publish and migrate.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from stylecore.library import CHAMPION
from training.command import run_command, text_table
from training.registry.bundle import write_bundle
from training.registry.published import PUBLISHED, publish_run
from training.registry.registry import Registry
from training.registry.restoring import restore_published
from training.tracking.environment import LOCAL_STORE, comparison_page
from training.tracking.experiments import VIEW
from training.tracking.store import connect

EXPERIMENT = "johnson"
"""The experiment of the published networks."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status: 2 for a mistake of the user, after one sentence on stderr."""
    options = _parser().parse_args(arguments)
    return run_command(options.run, options)


def _restore(options: argparse.Namespace) -> None:
    restored = restore_published(options.folder, options.tracking_uri)
    known = sorted(path.parent.name for path in options.folder.glob("*/run.json"))
    if not known:
        print(f"There are no published runs in {options.folder}.")
    for name in known:
        print(f"{name}: {'restored' if name in restored else 'already there'}")
    client = connect(options.tracking_uri)
    if known and (experiment := client.get_experiment_by_name(EXPERIMENT)):
        page = comparison_page(client.tracking_uri, experiment.experiment_id, VIEW, charts=False)
        print(f"The runs in MLflow: {page}")


def _list(options: argparse.Namespace) -> None:
    registry = Registry(options.tracking_uri)
    versions = registry.versions(options.name)
    if not versions:
        raise registry.unknown_style(options.name)
    rows = [("STYLE", "VERSION", "ITERATIONS", "RUN", "ALIASES")]
    rows += [(v.name, v.version, str(v.iterations or ""), v.run_name, ", ".join(v.aliases)) for v in versions]
    print(text_table(rows, right=False))


def _file(options: argparse.Namespace) -> None:
    print(Registry(options.tracking_uri).resolve(options.reference))


def _promote(options: argparse.Namespace) -> None:
    version = Registry(options.tracking_uri).promote(options.name, options.version, options.alias, options.reason)
    print(f"{version} now has the aliases {', '.join(version.aliases)}")


def _export(options: argparse.Namespace) -> None:
    registry = Registry(options.tracking_uri)
    manifest = write_bundle(registry, options.folder, options.names, all_versions=options.all_versions)
    versions = json.loads(manifest.read_text(encoding="utf-8"))["styles"]
    megabytes = sum(version["bytes"] for version in versions) / 1e6
    styles = len({version["name"] for version in versions})
    counts = [f"{n} {word}{'' if n == 1 else 's'}" for n, word in ((styles, "style"), (len(versions), "version"))]
    print(f"{manifest}: {' in '.join(counts)}, {megabytes:.1f} MB")


def _publish(options: argparse.Namespace) -> None:
    for run_id in options.runs:
        print(publish_run(run_id, options.folder, half=not options.full, tracking_uri=options.tracking_uri))


def _migrate(options: argparse.Namespace) -> None:
    from training.registry.migrate import migrate

    source = options.source or options.tracking_uri or f"sqlite:///{LOCAL_STORE / 'mlflow.db'}"
    for sentence in migrate(source, options.target):
        print(sentence, file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training.registry", description="The registered styles.")
    parser.add_argument(
        "--tracking-uri", metavar="URI", help="the MLflow store (default: $MLFLOW_TRACKING_URI, else mlruns/mlflow.db)"
    )
    verbs = parser.add_subparsers(
        required=True, metavar="restore | list | file | promote | export | publish | migrate"
    )

    restore = verbs.add_parser("restore", help="copy the published runs into the store")
    restore.add_argument("--from", dest="folder", type=Path, default=PUBLISHED, metavar="FOLDER")
    restore.set_defaults(run=_restore)

    listing = verbs.add_parser("list", help="styles, versions and aliases")
    listing.add_argument("name", nargs="?")
    listing.set_defaults(run=_list)

    file = verbs.add_parser("file", help="print the local file of a version, fetched from a server if need be")
    file.add_argument("reference", help="as starry_night, starry_night@ALIAS or starry_night/VERSION")
    file.set_defaults(run=_file)

    promote = verbs.add_parser("promote", help="make a version the champion of its style")
    promote.add_argument("name")
    promote.add_argument("version", help="a version number, or an alias such as iterations-1000")
    promote.add_argument("--alias", default=CHAMPION, help="the alias to give (default: %(default)s)")
    promote.add_argument(
        "--reason", default="", help="why; becomes the version's description, with the judge's figures"
    )
    promote.set_defaults(run=_promote)

    export = verbs.add_parser("export", help="write a bundle that is served without MLflow")
    export.add_argument("folder", type=Path)
    export.add_argument("--names", nargs="+", metavar="STYLE", help="only these styles (default: all)")
    export.add_argument(
        "--all-versions", action="store_true", help="every version of the styles that have an alias, not the champions"
    )
    export.set_defaults(run=_export)

    publish = verbs.add_parser("publish", help="write finished runs as files that can be committed")
    publish.add_argument("runs", nargs="+", metavar="RUN_ID")
    publish.add_argument("--to", dest="folder", type=Path, default=PUBLISHED, metavar="FOLDER")
    publish.add_argument("--full", action="store_true", help="keep the weights as float32 instead of float16")
    publish.set_defaults(run=_publish)

    migrate = verbs.add_parser("migrate", help="copy everything to another store, such as a server; can be repeated")
    migrate.add_argument(
        "--from", dest="source", metavar="URI", help="default: that of --tracking-uri, else mlruns/mlflow.db"
    )
    migrate.add_argument("--to", dest="target", required=True, metavar="URI", help="as https://tracker.example.com")
    migrate.set_defaults(run=_migrate)
    return parser


if __name__ == "__main__":
    sys.exit(main())
