"""What the page's server does beside Gradio: the queue's limits, samples and refusals, temporary files."""
