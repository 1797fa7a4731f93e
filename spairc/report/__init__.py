"""What people look at: tables, contact sheets and match pictures."""
