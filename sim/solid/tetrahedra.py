"""stub"""
import torch
from .term import Term
def psi(x, par):
    F = (x.reshape(4,3)[1:]-x.reshape(4,3)[:1]).T @ par[:9].reshape(3,3)
    J = torch.dot(F[:,0],torch.linalg.cross(F[:,1],F[:,2]))
    return par[9]*(0.5*((F*F).sum()-3)-(J-1)+0.5*(J-1)**2)+par[10]*0.5*(J-1)**2
def svk(x,par):
    F = (x.reshape(4,3)[1:]-x.reshape(4,3)[:1]).T @ par[:9].reshape(3,3)
    E = 0.5*(F.T@F-torch.eye(3,dtype=x.dtype))
    return par[9]*(E*E).sum()+par[10]*0.5*torch.trace(E)**2
class TetrahedronTerm(Term):
    def __init__(self, tets, law, unknowns):
        self.patterns=((3*tets[:,:,None]+torch.arange(3)).reshape(len(tets),12),); self.n=unknowns; self.f=svk if law.startswith('st_') else psi
    def energy(self,u,par): return float(torch.func.vmap(self.f)(u[self.patterns[0]],par).sum())
    def gradient(self,u,par):
        g=torch.func.vmap(torch.func.grad(self.f))(u[self.patterns[0]],par)
        return torch.zeros(self.n,dtype=u.dtype).index_add(0,self.patterns[0].reshape(-1),g.reshape(-1))
    def hessians(self,u,par,project):
        H=torch.func.vmap(torch.func.hessian(self.f))(u[self.patterns[0]],par)
        if project:
            e,V=torch.linalg.eigh(H); H=V@torch.diag_embed(e.clamp(min=0))@V.transpose(1,2)
        return (H,)
    def virtual_work(self,u,w,par):
        g=torch.func.vmap(torch.func.grad(self.f))(u[self.patterns[0]],par)
        return (g*w[self.patterns[0]]).sum()
def tetrahedron_parameters(rest,tets,mu,lam):
    x=rest[...,tets,:]; D=(x[...,1:,:]-x[...,:1,:]).transpose(-1,-2)
    V=torch.linalg.det(D)/6
    I=torch.linalg.inv(D).flatten(-2)
    mu,lam=torch.broadcast_tensors(V*mu,V*lam)
    return torch.cat([I.expand(*mu.shape,9),mu[...,None],lam[...,None]],-1)
