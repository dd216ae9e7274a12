"""Training and scoring on many data sets: Roboflow 100 by the published protocol."""
