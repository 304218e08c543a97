"""Reports of a job, as data and in the formats that people and CI systems read. No I/O."""
