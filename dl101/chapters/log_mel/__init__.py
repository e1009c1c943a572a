"""The chapter on log-mel and MFCC."""
