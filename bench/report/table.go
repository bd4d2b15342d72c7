package report

func Table(f *File) string { return Text(f) }
