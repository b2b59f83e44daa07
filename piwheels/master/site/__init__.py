"""The site: its files, and the pages that TheScribe writes into them."""
