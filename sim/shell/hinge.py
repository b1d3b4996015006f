class HingeTerm: pass
def hinge_parameters(): pass
