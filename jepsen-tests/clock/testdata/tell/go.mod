module tell

go 1.26.0
