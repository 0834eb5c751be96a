def text(folder):
    return ""
