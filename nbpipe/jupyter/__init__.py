"""What a notebook needs: magics, completion, the widget's panel. Thin views over `Pipeline`."""
