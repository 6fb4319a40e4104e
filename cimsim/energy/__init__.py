"""Energy and area: actions x energy per action, leakage, silicon."""
