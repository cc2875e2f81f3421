"""Tasks x policies x seeds: what a study is, training it cell by cell, statistics, figures."""
