"""Errors as the page shows them: one sentence."""

import functools
import html
import inspect
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import gradio as gr
import torch
from markupsafe import Markup

from stylecore.errors import StylecoreError

ERROR_TITLE = "That did not work"

_log = logging.getLogger(__name__)


def plainly(handler: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a handler so that a StylecoreError becomes its one sentence, and anything unexpected a friendly one.

    What was unexpected is logged with its traceback.
    """
    if not inspect.isgeneratorfunction(handler):
        return _in_words()(handler)

    @functools.wraps(handler)
    def generate(*args: Any, **kwargs: Any) -> Iterator[Any]:
        with _in_words():
            yield from handler(*args, **kwargs)

    return generate


@contextmanager
def _in_words() -> Iterator[None]:
    try:
        yield
    except gr.Error:
        raise
    except Exception as error:
        raise gr.Error(sentence_of(error), title=ERROR_TITLE, print_exception=False) from error


def sentence_of(error: Exception) -> Markup:
    """What the visitor reads of an error, as HTML. One that nobody expected is logged with its traceback."""
    if isinstance(error, gr.Error):
        return Markup(error.message)
    if isinstance(error, StylecoreError):
        sentence = str(error)
    elif isinstance(error, torch.OutOfMemoryError | MemoryError):
        sentence = "There is not enough memory for this size; choose a smaller one."
    else:
        _log.error("A request failed", exc_info=error)
        sentence = "Something went wrong here, not with your picture; please try again."
    sentence = sentence[:1].upper() + sentence[1:]
    # The browser shows the text as HTML.
    return Markup(html.escape(sentence if sentence.endswith(".") else f"{sentence}.", quote=False))
