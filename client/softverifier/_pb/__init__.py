"""Generated from protos/softverifier/v1 by `make protos`; the only copy. Do not edit."""
