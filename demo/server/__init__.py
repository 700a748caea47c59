"""What the page's server does beside Gradio: the queue's limits, refusals, temporary files."""
