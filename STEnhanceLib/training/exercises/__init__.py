"""What a network practises: how a batch is made, what counts as a mistake, and how it does on a patient kept aside."""
