"""The numbers that the model is made of."""

from dataclasses import dataclass

__all__ = ["Parameters"]


@dataclass(frozen=True)
class Parameters:
    """What a run depends on, next to its duration and seed.

    Times are in ms, lengths in µm, potentials in mV, synaptic weights in µS, rates in Hz; specific
    conductances in mS/cm², capacitance in µF/cm², resistivity in Ω cm, conductivity in S/m.

    Sodium and potassium currents, at the soma only, have the size of Pospischil et al. (2008) for
    regular spiking cells; ``kinetics_shift`` moves their kinetics along the potential. The drive is
    a Poisson process on each compartment. All else is chosen so that cells spike now and then.
    """

    time_step: float = 0.025
    steps_per_sample: int = 4

    exc_cells: int = 8
    inh_cells: int = 3
    least_dendrites: int = 2
    most_dendrites: int = 5
    least_compartments: int = 3
    most_compartments: int = 6
    compartment_length: float = 20.0
    dendrite_diameter: float = 2.0
    soma_diameter: float = 20.0
    layer_half_width: float = 60.0

    capacitance: float = 1.0
    axial_resistivity: float = 150.0
    leak: float = 0.15
    leak_reversal: float = -70.0
    sodium: float = 50.0
    sodium_reversal: float = 50.0
    potassium: float = 5.0
    potassium_reversal: float = -90.0
    kinetics_shift: float = -56.0
    spike_threshold: float = 0.0

    connection_probability: float = 0.3
    delay: float = 1.0
    exc_weight: float = 0.002
    exc_decay: float = 2.0
    exc_reversal: float = 0.0
    inh_weight: float = 0.006
    inh_decay: float = 8.0
    inh_reversal: float = -80.0
    drive_rate: float = 7.0
    drive_weight: float = 0.006

    extracellular_conductivity: float = 0.3
