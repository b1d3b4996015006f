"""stub"""
import dataclasses
import ipctk, numpy as np, scipy.sparse as sp
@dataclasses.dataclass
class Rub:
    force: object; by_position: object; by_reference: object; by_coefficient: object
F_=np.asfortranarray
class FrictionSet:
    def __init__(self, s, tc): self.s, self.tc = s, tc
    def energy(self, v): return self.s.D(self.tc, self.s.mesh, F_(v))
    def gradient(self, v): return self.s.D.gradient(self.tc, self.s.mesh, F_(v))
    def hessian(self, v, project): return self.s.D.hessian(self.tc, self.s.mesh, F_(v), ipctk.PSDProjectionMethod.CLAMP if project else ipctk.PSDProjectionMethod.NONE)
class ContactSurface:
    def __init__(self, vertices, faces, *, body, names, activation_distance, offset, friction_speed, self_contact, ignored, fixed):
        self.rest=F_(vertices); f=np.asarray(faces,np.int32)
        self.mesh=ipctk.CollisionMesh(self.rest, ipctk.edges(f), f)
        ok={}
        n=len(vertices)
        patches=np.array(body,np.int32)
        if not any(self_contact): self.mesh.can_collide=ipctk.make_vertex_patches_filter(patches)
        self.dhat,self.dmin,self.epsv=activation_distance,offset,friction_speed
        self.D=ipctk.FrictionPotential(friction_speed)
    def B(self,k): return ipctk.BarrierPotential(self.dhat,k,True)
    def check_start(self,X): 
        if ipctk.has_intersections(self.mesh,F_(X)): raise ValueError("intersects")
    def collisions(self,X):
        c=ipctk.NormalCollisions(); c.use_area_weighting=True; c.build(self.mesh,F_(X),self.dhat,self.dmin); return c
    def barrier_energy(self,X,c,k): return self.B(k)(c,self.mesh,F_(X))
    def barrier_gradient(self,X,c,k): return self.B(k).gradient(c,self.mesh,F_(X))
    def barrier_hessian(self,X,c,k,project): return self.B(k).hessian(c,self.mesh,F_(X),ipctk.PSDProjectionMethod.CLAMP if project else ipctk.PSDProjectionMethod.NONE)
    def smallest_gap(self,X,c): return np.sqrt(c.compute_minimum_distance(self.mesh,F_(X)))-self.dmin if len(c) else np.inf
    def largest_step(self,X0,X1): return ipctk.compute_collision_free_stepsize(self.mesh,F_(X0),F_(X1),self.dmin)
    def friction_set(self,X,c,k,mu):
        tc=ipctk.TangentialCollisions(); tc.build(self.mesh,F_(X),c,self.B(k),float(mu[0])); return FrictionSet(self,tc)
    def friction_jacobians(self,X,ref,span,c,k,mu):
        tc=self.friction_set(X,c,k,mu).tc; v=F_((X-ref)/span); lag=F_(X-self.rest); W=ipctk.FrictionPotential.DiffWRT; B=self.B(k)
        f=-self.D.force(tc,self.mesh,self.rest,lag,v,B,self.dmin)
        Jv=-self.D.force_jacobian(tc,self.mesh,self.rest,lag,v,B,W.VELOCITIES,self.dmin)
        Jl=-self.D.force_jacobian(tc,self.mesh,self.rest,lag,v,B,W.LAGGED_DISPLACEMENTS,self.dmin)
        return Rub(f,Jv/span+Jl,-Jv/span,(f/mu[0])[:,None])
