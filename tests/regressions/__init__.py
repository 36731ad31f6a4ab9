"""Seeds that once failed: data in seeds.json, run again by test_seeds.py for ever."""
