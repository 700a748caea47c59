"""The page. `python -m demo.app` serves it; `build_demo(catalogue)` makes it for tests and other programs.

It opens at http://127.0.0.1:7860; GRADIO_SERVER_NAME, GRADIO_SERVER_PORT and Gradio's other variables change that.
"""

import argparse
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # read while gradio is imported

import gradio as gr
from starlette.middleware import Middleware

from demo.errors import plainly
from demo.server.memory import return_freed_memory
from demo.server.queue import limit_queue
from demo.server.refusals import Refusals
from demo.server.temporary_files import keep_tidy, own_folder
from demo.services.catalogue import BundleCatalogue, Catalogue
from demo.services.film import FilmPainter
from demo.services.gatys import Painter
from demo.services.limits import Limits
from demo.services.registry_catalogue import RegistryCatalogue
from demo.services.stylize import Stylizer
from demo.services.teach.catalogue import TaughtCatalogue
from demo.services.teach.teacher import Teacher
from demo.tabs.compare import build_compare_api, build_compare_tab
from demo.tabs.film import build_film_api, build_film_tab
from demo.tabs.gatys import build_gatys_api, build_gatys_tab
from demo.tabs.stylize import build_stylize_api, build_stylize_tab
from demo.tabs.your_style import build_your_style_tab, visitor
from demo.theme import STYLE_SHEETS, WEB, script, theme
from demo.words import UPLOAD_WORDS
from stylecore.errors import StylecoreError
from stylecore.library import LOCAL_STORE
from stylecore.vgg.network import VGG
from stylecore.vgg.weights import load_vgg as pretrained_vgg

BACKSTOP = 200
"""Requests of all kinds that may wait; beyond it Gradio itself refuses."""
LESSON_MINUTES_ON_A_SPACE = (2, 5, 10)
BUNDLE_VARIABLE = "STYLECORE_BUNDLE"

_log = logging.getLogger(__name__)


def build_demo(
    catalogue: Catalogue,
    *,
    load_vgg: Callable[[], VGG] | None = None,
    limits: Limits | None = None,
    teacher: Teacher | None = None,
) -> gr.Blocks:
    """The page, not launched yet; launch it with `launch_options`.

    Args:
        catalogue: the styles.
        load_vgg: gives the network of Gatys' method; the pretrained VGG-19 when left out.
        limits: what one visitor may ask for.
        teacher: teaches visitors' paintings, in a tab of its own; None for no such tab.
    """
    limits = limits or Limits()
    catalogue = TaughtCatalogue(catalogue, teacher) if teacher else catalogue
    stylizer = Stylizer(catalogue, limits)
    painter = Painter(load_vgg or (lambda: pretrained_vgg("vgg19")), stylizer)
    films = FilmPainter(stylizer)
    with gr.Blocks(title="stylecore: your photo, painted", analytics_enabled=False, delete_cache=(600, 3000)) as page:
        gr.HTML((WEB / "header.html").read_text(encoding="utf-8"))
        token: gr.State | gr.BrowserState = visitor() if teacher else gr.State("")
        with gr.Tabs(elem_id="tabs"):
            with gr.Tab("Stylize", id="stylize"):
                first = build_stylize_tab(stylizer, page, token)
            with gr.Tab("Film", id="film") as tab:
                build_film_tab(films, tab, first)
            with gr.Tab("Gatys", id="gatys") as tab:
                build_gatys_tab(painter, tab, first)
            with gr.Tab("Compare", id="compare") as tab:
                build_compare_tab(stylizer, tab, first)
            if teacher:
                with gr.Tab("Your style", id="your_style") as tab:
                    build_your_style_tab(teacher, catalogue, page, tab, first)
        with gr.Row(visible=False):  # for programs
            build_stylize_api(stylizer)
            build_compare_api(stylizer)
            build_gatys_api(painter)
            build_film_api(films)
    # `limit_queue` bounds the queues that matter; the rest answer in a moment. Direct calls would pass by the queue.
    page.queue(max_size=BACKSTOP, default_concurrency_limit=1, api_open=False)
    limit_queue(page, limits)
    for handler in page.fns.values():
        if handler.fn is not None:  # else it is JavaScript alone
            handler.fn = plainly(handler.fn)
    return page


def launch_options(limits: Limits | None = None) -> dict[str, Any]:
    """What `Blocks.launch` is given besides address and port."""
    return {
        "theme": theme(),
        "css_paths": STYLE_SHEETS,
        "head": f"<script>{script('page')}</script>",
        "i18n": gr.I18n(en=UPLOAD_WORDS),
        "ssr_mode": False,
        "enable_monitoring": False,
        "max_file_size": (limits or Limits()).file_size,
        "footer_links": ["api"],
        "run_history": False,
        "show_error": False,
        "_frontend": False,  # else Gradio asks itself for the page, and gives up after 3 s on a busy machine
        "app_kwargs": {"middleware": [Middleware(Refusals)]},
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve the page until interrupted; returns the exit status (2 for what the user can mend)."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)  # it announces each migration of a new store
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends the server as Ctrl+C does
    return_freed_memory()
    try:
        if options.mcp and find_spec("mcp") is None:
            raise StylecoreError("the MCP server needs the package mcp: `pip install mcp==1.30.0`.")
        catalogue = _catalogue(options)
        limits = Limits(behind_proxy=options.behind_proxy)
        if "SPACE_ID" in os.environ:
            limits = replace(limits, lesson_minutes=LESSON_MINUTES_ON_A_SPACE)
        with own_folder() as folder, _teaching(options, limits) as teacher:
            page = build_demo(catalogue, limits=limits, teacher=teacher)
            keep_tidy(folder)
            return _serve(page, catalogue, options)
    except StylecoreError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:  # before there was a server to end
        return 0
    finally:
        signal.signal(signal.SIGTERM, before)


def _catalogue(options: argparse.Namespace) -> Catalogue:
    if options.bundle is not None:
        return BundleCatalogue(options.bundle)
    if find_spec("mlflow") is None:
        raise StylecoreError(
            "serving the registry needs the package mlflow; install it, or serve a bundle with --bundle."
        )
    is_local = os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1") in ("127.0.0.1", "localhost")
    return RegistryCatalogue(options.tracking_uri, mlflow_page=options.mlflow_page, is_local=is_local)


def _teaching(options: argparse.Namespace, limits: Limits) -> AbstractContextManager[Teacher | None]:
    """The teacher of visitors' paintings, while the page is served; None where there is none."""
    if not options.teach:
        return nullcontext()
    if find_spec("training") is None:
        raise StylecoreError("--teach needs the folder training of the repository, which is not here; leave it out.")
    uri = options.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI", "")
    if uri.startswith("sqlite"):  # a lesson runs in a folder of its own
        uri = f"sqlite:///{Path(uri.partition(':///')[2]).expanduser().absolute()}"
    variables = {"MLFLOW_TRACKING_URI": uri} if uri else {}
    if options.bundle is not None:
        variables[BUNDLE_VARIABLE] = str(options.bundle.absolute())
    teacher = Teacher(
        options.lessons, limits, for_all=options.teach_for_all, mlflow_page=options.mlflow_page, environment=variables
    )
    return closing(teacher.start())


def _serve(page: gr.Blocks, catalogue: Catalogue, options: argparse.Namespace) -> int:
    if options.mcp:
        import gradio.mcp

        gradio.mcp.DEFAULT_TEMP_DIR = os.environ["GRADIO_TEMP_DIR"]  # it was read before there was one of our own
    try:
        _, url, _ = page.launch(
            quiet=True,
            prevent_thread_lock=True,
            inbrowser=options.inbrowser,
            mcp_server=options.mcp,
            **launch_options(),
        )
    except OSError as error:  # no free port
        raise StylecoreError(f"the page cannot be served: {error}") from error
    print(f"The page is at {url} (Ctrl+C ends it)", flush=True)
    if options.mcp:
        print(f"MCP clients connect to {url}gradio_api/mcp/", flush=True)
    # Only now, so that the page answers first.
    threading.Thread(target=_fill, args=(catalogue, options), name="styles", daemon=True).start()
    page.block_thread()
    return 0


def _fill(catalogue: Catalogue, options: argparse.Namespace) -> None:
    """While the page is served, put the published runs into the registry, where it lacks them, and paint the styles'
    previews; the page goes on without the runs too."""

    def tell(done: int, total: int) -> None:
        catalogue.loading = f"The published styles are being fetched: {done} of {total} trainings are there."

    if options.bundle is None:
        from training.registry.restoring import restore_published

        catalogue.loading = "The styles are being looked for."
        try:
            if restored := restore_published(tracking_uri=options.tracking_uri, progress=tell):
                print(f"Restored the published runs {', '.join(restored)}.", flush=True)
        except StylecoreError as error:
            _log.warning("The published runs were not restored: %s", error)
        finally:
            catalogue.loading = ""
    catalogue.styles()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m demo.app",
        description="The page: your photo, painted.",
        epilog="It opens at http://127.0.0.1:7860; GRADIO_SERVER_NAME and GRADIO_SERVER_PORT change that.",
    )
    parser.add_argument(
        "--bundle",
        type=Path,
        default=os.environ.get(BUNDLE_VARIABLE) or None,
        metavar="FOLDER",
        help=f"serve an exported bundle instead of the MLflow registry (default: ${BUNDLE_VARIABLE})",
    )
    parser.add_argument(
        "--tracking-uri", metavar="URI", help="the MLflow store (default: $MLFLOW_TRACKING_URI, else mlruns/mlflow.db)"
    )
    parser.add_argument(
        "--mlflow-page",
        type=_web_address,
        default="",
        metavar="URL",
        help="where MLflow's page shows the store, to link to runs; a server as the store is linked to by itself",
    )
    parser.add_argument(
        "--teach",
        action=argparse.BooleanOptionalAction,
        default="SPACE_ID" not in os.environ and find_spec("training") is not None,
        help="the tab Your style, where visitors teach networks their paintings (default: unless on a Space)",
    )
    parser.add_argument(
        "--teach-for-all",
        action="store_true",
        help=f"everybody sees the styles that visitors taught, and the newest {Limits().lessons_kept} are kept",
    )
    parser.add_argument(
        "--lessons",
        type=Path,
        default=LOCAL_STORE / "lessons",
        metavar="FOLDER",
        help="where lessons and the styles of visitors are kept (default: mlruns/lessons)",
    )
    parser.add_argument("--mcp", action="store_true", help="serve the endpoints as tools for MCP clients too")
    parser.add_argument(
        "--behind-proxy",
        action="store_true",
        default="SPACE_ID" in os.environ,
        help="distinguish visitors by the address that a reverse proxy passes on (default: on a Space)",
    )
    parser.add_argument("--inbrowser", action="store_true", help="open the page in a browser, where there is one")
    return parser


def _web_address(text: str) -> str:
    if text and not text.startswith(("http://", "https://")):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no address of a web page; write for example http://127.0.0.1:5000"
        )
    return text


if __name__ == "__main__":
    sys.exit(main())
