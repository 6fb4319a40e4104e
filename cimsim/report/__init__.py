"""What people see: of one run, of a timeline, of a chip and what lies on it."""
