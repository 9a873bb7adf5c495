"""Compute statistics of every compartment with dask, on a cluster of several processes."""

from pathlib import Path

import numpy as np
from distributed import Client, LocalCluster

from ndx_simulation_output import open_output
from ndx_simulation_output.demo import run_demo


def main() -> None:
    # Stand-in for your file: run.nwb of the demo.
    for line in run_demo(Path("demo")):
        print(line)

    # Processes on this machine; Client("tcp://…") connects to a remote cluster.
    cluster = LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0")
    with cluster, Client(cluster):
        with open_output("demo/run.nwb") as output:
            report = output["v_exc"]
            voltages = report.to_dask(chunks=(500, -1))
            read_here = report.get_traces()
        # The file is closed here. Each process opens it for the blocks that it computes.
        mean = voltages.mean(axis=0).compute()
        variance = voltages.var(axis=0).compute()
        depolarized = (voltages > -0.04).any(axis=0).sum().compute()

    np.testing.assert_allclose(mean, read_here.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(variance, read_here.var(axis=0), rtol=1e-3)
    print(f"{voltages.npartitions} blocks of {voltages.shape[1]} compartments")
    print(f"means from {1e3 * mean.min():.1f} to {1e3 * mean.max():.1f} mV")
    print(f"standard deviations up to {1e3 * np.sqrt(variance.max()):.1f} mV")
    print(f"{depolarized} compartments were above -40 mV at some time")


if __name__ == "__main__":
    main()  # the cluster processes import this file and must not start a cluster
