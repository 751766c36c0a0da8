"""Who is train, validation and test, as objects and as files a user may edit."""
