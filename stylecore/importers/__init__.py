"""Imports networks of other projects as StyleModels: one module for each project, and `import_style` for all."""
