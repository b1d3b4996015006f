"""stub"""
class ContactSurface: pass
class FrictionSet: pass
