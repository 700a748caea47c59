"""What the page's server does beside Gradio: refusals, temporary files."""
