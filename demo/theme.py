"""Theme and style sheet. Fonts are files that Gradio carries; nothing is fetched from elsewhere."""

import gradio as gr
from gradio.themes.utils import colors, sizes

NIGHT = colors.Color(
    name="night",
    c50="#f2f5fb", c100="#e2e9f6", c200="#c4d1ec", c300="#97aedd", c400="#6584c8", c500="#3f63b1",
    c600="#2f4f97", c700="#27407a", c800="#223561", c900="#1a2746", c950="#101a31",
)  # fmt: skip
STARLIGHT = colors.Color(
    name="starlight",
    c50="#fdf9ec", c100="#faf0cc", c200="#f5e096", c300="#efcb58", c400="#e9b830", c500="#d79c1c",
    c600="#b27716", c700="#8b5616", c800="#724519", c900="#613a1a", c950="#381d0b",
)  # fmt: skip
INK = colors.Color(
    name="ink",
    c50="#f8f9fb", c100="#f0f2f6", c200="#e2e6ed", c300="#ccd3de", c400="#98a3b5", c500="#667289",
    c600="#4a566d", c700="#354057", c800="#202a3e", c900="#141c2d", c950="#0b111e",
)  # fmt: skip


def theme() -> gr.themes.Base:
    """Night blue on paper; in the dark, on night."""
    return gr.themes.Base(
        primary_hue=NIGHT,
        secondary_hue=STARLIGHT,
        neutral_hue=INK,
        radius_size=sizes.radius_lg,
        text_size=sizes.text_md,
        spacing_size=sizes.spacing_md,
        # In these weights the files are whole; most others that Gradio carries lack letters.
        font=(gr.themes.LocalFont("Source Sans Pro", (400, 700)), "ui-sans-serif", "system-ui", "sans-serif"),
        font_mono=(gr.themes.LocalFont("IBM Plex Mono", (400, 700)), "ui-monospace", "Consolas", "monospace"),
    ).set(
        body_background_fill="*neutral_50",
        body_background_fill_dark="*neutral_950",
        background_fill_primary_dark="*neutral_900",
        background_fill_secondary_dark="*neutral_950",
        block_background_fill="white",
        block_background_fill_dark="*neutral_900",
        block_border_width="1px",
        block_border_color="*neutral_200",
        block_border_color_dark="*neutral_800",
        block_shadow="none",
        block_label_background_fill="transparent",
        block_label_background_fill_dark="transparent",
        block_label_border_width="0px",
        block_label_text_weight="600",
        block_label_text_color="*neutral_700",
        block_label_text_color_dark="*neutral_200",
        block_title_text_weight="600",
        block_title_text_color="*neutral_800",
        block_title_text_color_dark="*neutral_100",
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_300",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_300",
        border_color_primary_dark="*neutral_700",
        slider_color="*primary_500",
        slider_color_dark="*secondary_400",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_dark="*secondary_400",
        button_primary_background_fill_hover_dark="*secondary_300",
        button_primary_text_color="white",
        button_primary_text_color_dark="*neutral_950",
        button_secondary_background_fill="white",
        button_secondary_background_fill_hover="*neutral_100",
        button_secondary_background_fill_dark="*neutral_800",
        button_secondary_background_fill_hover_dark="*neutral_700",
        button_secondary_border_color="*neutral_300",
        button_secondary_border_color_dark="*neutral_700",
        button_border_width="1px",
        button_primary_border_color="transparent",
        button_primary_border_color_dark="transparent",
        button_large_text_size="*text_md",
        checkbox_border_color="*neutral_400",
        checkbox_border_color_dark="*neutral_500",
        checkbox_background_color_selected="*primary_600",
        checkbox_background_color_selected_dark="*secondary_500",
        input_border_color="*neutral_300",
        input_border_color_dark="*neutral_700",
    )


HEADER = """
<header class="masthead">
  <h1>Your photo, painted</h1>
  <p>Drop in a photo and choose a painting. A small neural network repaints the photo in its manner, in one pass.</p>
</header>
"""

CSS = """
.gradio-container > .main { max-width: 1240px; margin: 0 auto; }
.gradio-container .html-container { padding: 0; }
.masthead { padding: 6px 0 0; }
.masthead h1 { font-weight: 700; font-size: 2.5rem; line-height: 1.1;
  letter-spacing: -0.02em; margin: 0 0 6px; color: var(--body-text-color); }
.masthead p, .lede p { font-size: 1.06rem; color: var(--body-text-color-subdued); margin: 0; max-width: 52em; }
#tabs button[role=tab] { font-size: 1.04rem; font-weight: 600; }
.columns { gap: 26px !important; align-items: flex-start; }
.columns > .column { gap: 14px; }

.hint { margin: 0; font-size: .9rem; line-height: 1.45; color: var(--body-text-color-subdued); }
#photo-limits { margin-top: -4px; }

/* Sample photos: a strip of squares. */
.samples { display: flex; align-items: center; gap: 12px; flex-wrap: wrap; }
.samples > span { color: var(--body-text-color-subdued); font-size: .95rem; }
.samples > div { display: flex; flex-wrap: wrap; gap: 8px; }
.samples button { width: 46px; height: 46px; padding: 0; border: 0; border-radius: 10px; overflow: hidden;
  cursor: pointer; background: none; }
.samples img { width: 100%; height: 100%; object-fit: cover; display: block; margin: 0; }
.samples button:hover { outline: 2px solid var(--primary-400); outline-offset: 2px; }

/* Styles: radio buttons that look like cards. */
.cards { border: 0; padding: 0; margin: 4px 0 0; min-width: 0; }
.cards legend { font-weight: 600; font-size: 1.04rem; color: var(--body-text-color); padding: 0; margin: 0 0 10px; }
.cards > div { display: grid; grid-template-columns: repeat(auto-fill, minmax(118px, 1fr)); gap: 14px 12px;
  padding: 3px; }
.card { position: relative; display: block; cursor: pointer; line-height: 1.25; }
.card input { position: absolute; opacity: 0; width: 1px; height: 1px; }
.card img, .card .no-preview { display: block; width: 100%; aspect-ratio: 1; object-fit: cover; border-radius: 12px;
  margin: 0; background: var(--neutral-200); transition: outline-color .15s; outline: 3px solid transparent;
  outline-offset: 2px; }
.card:hover img { outline-color: var(--primary-200); }
.card input:checked + * { outline-color: var(--primary-600); }
.card input:focus-visible + * { outline-color: var(--secondary-500); }
.dark .card:hover img { outline-color: var(--neutral-600); }
.dark .card input:checked + * { outline-color: var(--secondary-400); }
.dark .card input:focus-visible + * { outline-color: white; }
.card .title { display: block; font-weight: 600; font-size: .93rem; margin: 8px 1px 0; color: var(--body-text-color); }
.card .artist { display: block; font-size: .87rem; margin: 1px 1px 0; color: var(--body-text-color-subdued); }

/* The webcam: what it sees, and what is made of it. */
#live { display: flex; }
#live > *, #live .html-container { width: 100%; height: 100%; }
.live { display: block; width: 100%; height: 230px; margin: 0; object-fit: contain; border-radius: 12px;
  background: var(--neutral-100); }
.dark .live { background: var(--neutral-800); }
.live.empty { background: none; border: 2px dashed var(--border-color-primary); }
#sheet img { border-radius: 8px; }

/* The result. */
@media (min-width: 1000px) { .result { position: sticky; top: 14px; } }
#result, #gatys-result { border-width: 0 !important; background: none; }
#result img, #gatys-result img { border-radius: 12px; }
#result .empty { min-height: 340px; border: 2px dashed var(--border-color-primary); border-radius: 14px;
  background: none; }
#notice { padding: 12px 16px; border-left: 4px solid var(--secondary-400); border-radius: 8px;
  background: var(--block-background-fill); }
#gatys-result .image-frame img, #gatys-result img { width: 100%; height: 100%; object-fit: contain; }
#gatys-result .empty { border: 2px dashed var(--border-color-primary); border-radius: 14px; background: none; }
#gatys-result .empty::after { content: "Press Paint, and watch the picture change here."; margin-left: 12px;
  color: var(--body-text-color-subdued); }
.inputs label.float { background: var(--block-background-fill); border-radius: 0 0 8px 0; opacity: .92; }
#gatys-recipe { min-height: 0; }
#gatys-recipe .cm-editor, #gatys-recipe .codemirror-wrapper, #gatys-recipe .wrap { min-height: 0; height: auto; }
.status { margin: 0; color: var(--body-text-color-subdued); font-size: 1rem; line-height: 1.5; min-height: 1.5em; }
.status strong { color: var(--body-text-color); font-weight: 600; }

/* The comparison: pictures in their own shape, words below. */
.ready { display: flex; flex-wrap: wrap; gap: 8px; align-items: center; margin: 2px 0 14px !important; }
.ready > span { flex: 1 0 100%; font-weight: 600; color: var(--body-text-color); }
.ready button { margin: 0 !important; padding: 7px 14px; border-radius: 999px; cursor: pointer;
  border: 1px solid var(--button-secondary-border-color);
  background: var(--button-secondary-background-fill); color: var(--body-text-color); }
.ready button:hover { background: var(--button-secondary-background-fill-hover); }
.ready button[aria-pressed=true] { border-color: var(--primary-600); box-shadow: inset 0 0 0 1px var(--primary-600); }
.dark .ready button[aria-pressed=true] { border-color: var(--secondary-400);
  box-shadow: inset 0 0 0 1px var(--secondary-400); }
#compare-versions label { padding: 4px 0; border: 0; background: none; box-shadow: none; }
#compare-versions .wrap { gap: 2px; max-height: 300px; overflow-y: auto; flex-wrap: nowrap; flex-direction: column; }
#compare-result .nothing { display: grid; place-items: center; min-height: 340px; margin: 0; padding: 20px;
  border: 2px dashed var(--border-color-primary); border-radius: 14px; color: var(--body-text-color-subdued); }
#compare-result .shared { margin: 0 0 16px; color: var(--body-text-color-subdued); line-height: 1.5; }
#compare-result .grid { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(270px, 100%), 1fr));
  gap: 26px 18px; }
#compare-result figure { margin: 0; min-width: 0; max-width: 640px; }
#compare-result .large { display: block; width: 100%; padding: 0; border: 0; border-radius: 12px; background: none;
  cursor: zoom-in; }
#compare-result .layers { display: block; position: relative; overflow: hidden; border-radius: 12px; }
#compare-result .layers img { display: block; width: 100%; height: auto; margin: 0; }
#compare-result .layers .after { position: absolute; inset: 0; height: 100%; opacity: var(--strength, 1); }
#compare-result .waiting .layers { opacity: .35; }
#compare-result figcaption { display: block; padding: 9px 1px 0; font-size: .93rem; line-height: 1.45;
  color: var(--body-text-color-subdued); }
#compare-result figcaption strong { font-size: 1.02rem; font-weight: 600; color: var(--body-text-color); }
#compare-result .best { margin-left: 4px; padding: 1px 8px; border-radius: 999px; font-size: .8rem;
  color: var(--body-text-color); background: var(--neutral-200); }
.dark #compare-result .best { background: var(--neutral-700); }
#compare-result .losses { display: flex; height: 6px; margin: 6px 0 4px; border-radius: 3px; overflow: hidden;
  background: var(--neutral-200); }
.dark #compare-result .losses { background: var(--neutral-800); }
#compare-result .losses .content { background: #6188d8; }
#compare-result .losses .style { background: #d79c1c; }
#compare-result .figures, #compare-result .notes { display: block; font-variant-numeric: tabular-nums; }
#compare-result .figures span { margin-right: 10px; }
#compare-result figcaption a { display: inline-block; padding: 0; overflow-wrap: anywhere; }
#compare-result .figures span::before { content: ""; display: inline-block; width: 8px; height: 8px;
  margin-right: 5px; border-radius: 2px; background: #6188d8; }
#compare-result .figures .style::before { background: #d79c1c; }
#compare-result dialog { position: fixed; inset: 0; width: fit-content; max-width: 96vw; height: fit-content;
  max-height: 96vh; margin: auto !important; padding: 14px; border: 0; border-radius: 14px; overflow: hidden;
  background: var(--background-fill-primary); color: var(--body-text-color); }
#compare-result dialog:not([open]) { display: none; }
#compare-result dialog::backdrop { background: rgb(11 17 30 / .8); }
#compare-result dialog .layers img { width: min(calc(96vw - 28px), 1100px, calc((96vh - 110px) * var(--aspect, 1))); }
#compare-result dialog .layers .after { width: 100%; }
#compare-result .bar { display: flex; gap: 8px; align-items: center; margin-top: 12px; }
#compare-result .bar p { flex: 1; min-width: 0; margin: 0; text-align: center; font-weight: 600; line-height: 1.3; }
#compare-result .bar button { min-width: 42px; min-height: 38px; padding: 4px 12px; border-radius: 9px;
  border: 1px solid var(--button-secondary-border-color); background: var(--button-secondary-background-fill);
  color: var(--body-text-color); cursor: pointer; }

#gatys-curve .role-legend { display: none; }
#gatys-styles .samples { margin-top: -4px; }
.gatys-progress { height: 4px; border-radius: 2px; background: var(--neutral-200); overflow: hidden;
  margin: 8px 0 2px; }
.dark .gatys-progress { background: var(--neutral-800); }
.gatys-progress > div { height: 100%; background: var(--secondary-400); transition: width .3s linear; }
/* While it waits or works, Gradio writes its place in the queue and the seconds over the line. */
.wrap.minimal { background: var(--body-background-fill) !important; padding: 0 !important; border-radius: 0; }
.wrap.minimal .meta-text { right: auto; left: 0; top: 0; bottom: auto; padding: 0; font-family: inherit;
  font-size: 1rem; line-height: 1.5; color: var(--body-text-color); }
footer .divider { display: none !important; }
.dark .source-selection .icon { color: var(--neutral-300); }
.dark .source-selection .selected { color: var(--secondary-400) !important; }
.pair { gap: 12px; flex-wrap: nowrap; }
.controls { align-items: stretch; }
.dark #tabs button[role=tab][aria-selected=true] { color: var(--secondary-400); }
.dark #tabs button[role=tab][aria-selected=true]::after { background-color: var(--secondary-400); }
button:focus-visible, [role=tab]:focus-visible, input:focus-visible, a:focus-visible, [role=slider]:focus-visible {
  outline: 2px solid var(--secondary-500); outline-offset: 2px; }

@media (max-width: 640px) {
  .gradio-container > .main { padding: 8px 14px !important; }
  .masthead h1 { font-size: 1.95rem; }
  .masthead p { font-size: 1rem; }
  #photo { height: 172px !important; }
  #gatys-result { height: 300px !important; }
  .actions, .downloads { flex-wrap: nowrap; gap: 10px; }
  .actions button, .downloads button { min-width: 0 !important; flex: 1 1 0; padding: 10px 6px; }
  .controls .form { flex-direction: column; }
  .cards { margin-top: 0; }
  /* The cards become a strip, so that the result stays near. */
  .cards > div { display: flex; overflow-x: auto; margin: 0 -14px 0 -6px; padding: 6px; }
  .card { flex: 0 0 112px; }
}
@media (prefers-reduced-motion: reduce) { * { transition: none !important; } }
"""
