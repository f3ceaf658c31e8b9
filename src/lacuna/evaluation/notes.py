"""Words of the notes that metrics put on values, by which reports know them again."""

# UA of a small forget set, and an accuracy that says nothing: how these notes begin
FEW_FORGOTTEN, ONE_CLASS = "D_f has ", "no better than always naming one class"
# MIA where other draws of the attack's members give another: how the note of a metric made from it ends
DRAW_OF_MEMBERS = "MIA hangs on the draw of members"
