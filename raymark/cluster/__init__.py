"""Work on a Dask cluster; imported only where one is asked for."""
