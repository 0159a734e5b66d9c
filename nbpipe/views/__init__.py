"""What people see: tables, pictures, progress. Nothing below this floor prints."""
