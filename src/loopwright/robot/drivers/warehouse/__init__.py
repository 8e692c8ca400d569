"""The robots of the simulated warehouse behind the interface of a real fleet's."""
