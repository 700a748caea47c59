"""Networks that other projects trained, as StyleModels: a module for each project, `import_style` for all of them."""
