"""The charts of the page: one file per section, each a function of the study that gives charts or says why not."""
