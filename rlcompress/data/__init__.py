"""From any source of text to prepared splits: corpus, readers, passages, duplicates, prepare, dataset."""
