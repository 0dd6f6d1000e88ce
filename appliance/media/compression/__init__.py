"""Makes media smaller before it is stored, in processes of their own: what senders chose is opened nowhere else."""
