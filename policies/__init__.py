"""How things learn: RLModules, the group runner, learners and Algorithm classes on RLlib's new API stack."""
