"""Models refitted through time: folds, panel, fits, backtest, study, and the forecasts that leave the workbook."""
