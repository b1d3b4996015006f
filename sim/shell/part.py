class ShellPart: pass
