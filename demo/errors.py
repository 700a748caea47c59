"""Errors as the page shows them: one sentence."""

import functools
import html
import inspect
import logging
from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr
import torch

from stylecore.errors import StylecoreError

ERROR_TITLE = "That did not work"

_log = logging.getLogger(__name__)


def plainly(handler: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a handler so that a StylecoreError becomes its one sentence, and anything unexpected a friendly one.

    What was unexpected is logged with its traceback.
    """

    if inspect.isgeneratorfunction(handler):

        @functools.wraps(handler)
        def generate(*args: Any, **kwargs: Any) -> Iterator[Any]:
            try:
                yield from handler(*args, **kwargs)
            except Exception as error:
                raise _shown(error) from error

        return generate

    @functools.wraps(handler)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return handler(*args, **kwargs)
        except Exception as error:
            raise _shown(error) from error

    return call


def sentence_of(error: Exception) -> str:
    """What the visitor reads of an error, as HTML. One that nobody expected is logged with its traceback."""
    if isinstance(error, gr.Error):
        return str(error.message)
    if isinstance(error, StylecoreError):
        sentence = str(error)
    elif isinstance(error, torch.OutOfMemoryError | MemoryError):
        sentence = "There is not enough memory for this size; choose a smaller one."
    else:
        _log.error("A request failed", exc_info=error)
        sentence = "Something went wrong here, not with your picture; please try again."
    sentence = sentence[:1].upper() + sentence[1:]
    # The browser shows the text as HTML.
    return html.escape(sentence if sentence.endswith(".") else f"{sentence}.", quote=False)


def _shown(error: Exception) -> gr.Error:
    if isinstance(error, gr.Error):
        return error
    return gr.Error(sentence_of(error), title=ERROR_TITLE, print_exception=False)
