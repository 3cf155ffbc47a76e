"""The workbook room: parameters, the chain of notebooks, and the report that comes out of a run."""
