"""The pages of the dashboard, a module for each entry of the menu."""
