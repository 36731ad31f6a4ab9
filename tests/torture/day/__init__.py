"""A simulated day of a deployment with every background task on, against a model. Without Ray and without waiting."""
